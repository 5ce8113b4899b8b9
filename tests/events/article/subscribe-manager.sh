# Manager subscribes to all specialist events
pilotctl events subscribe --topic "specialist.*"
