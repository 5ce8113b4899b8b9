# QA specialist subscribes to backend events
# (automatically starts testing when backend is ready)
pilotctl events subscribe --topic "specialist.backend.*"
