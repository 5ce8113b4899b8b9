# Specialist trusts only the manager
pilotctl trust 1:0001.0000.0001  # manager
