# On the QA specialist: also trust the backend specialist
pilotctl trust 1:0001.0000.0002  # backend can send to qa
