# Backend specialist publishes when API is ready
pilotctl events publish --topic "specialist.backend.ready" \
  --data '{"endpoints": ["POST /auth/login", "POST /auth/register"]}'
