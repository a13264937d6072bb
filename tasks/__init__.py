"""One thin function per node kind, and the executors that run them: in this process or on Ray."""
