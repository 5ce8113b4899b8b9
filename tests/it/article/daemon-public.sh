# On GCP machines: use fixed endpoints (skip STUN)
pilot-daemon -registry-addr rendezvous.example.com:9000 \
             -beacon-addr rendezvous.example.com:9001 \
             -endpoint 34.148.103.117:4000 -public
