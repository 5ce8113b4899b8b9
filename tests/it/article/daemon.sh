# On each machine: start the Pilot daemon
pilot-daemon -registry-addr rendezvous.example.com:9000 \
             -beacon-addr rendezvous.example.com:9001
