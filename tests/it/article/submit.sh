# Manager's tool: submit a task to a specialist
pilotctl task submit \
  --to 1:0001.0000.0002 \
  --description "Implement user authentication API routes" \
  --param "framework=gin" \
  --param "endpoints=login,logout,register,refresh" \
  --param "auth_method=jwt" \
  --wait
