# Step 1: Manager analyzes and decomposes the task
# (This happens in the manager's Claude context)
# Subtasks: backend API, frontend UI, tests, documentation

# Step 2: Manager submits backend task
pilotctl task submit \
  --to 1:0001.0000.0002 \
  --description "Add TOTP 2FA endpoints to the auth API" \
  --param "endpoints=enable-2fa,verify-2fa,disable-2fa" \
  --param "library=pquerna/otp" \
  --wait

# Backend specialist accepts, implements, returns code

# Step 3: Manager sends backend code to QA specialist
pilotctl task submit \
  --to 1:0001.0000.0004 \
  --description "Write and run tests for the 2FA API endpoints" \
  --param "coverage_target=90" \
  --wait

# QA specialist accepts, writes tests, runs them, returns results

# Step 4: Manager submits ML task (if 2FA includes risk scoring)
pilotctl task submit \
  --to 1:0001.0000.0003 \
  --description "Train a login risk scoring model on auth logs" \
  --param "model_type=gradient_boosting" \
  --param "features=ip,device,time,location" \
  --wait

# ML specialist accepts, trains model on GPU, returns model file

# Step 5: Manager synthesizes all results
# Merges code from backend, test results from QA, model from ML
# Produces final PR with all components integrated
