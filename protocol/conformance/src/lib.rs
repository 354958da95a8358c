//! Every rule of the ports as one named test, run on every backend.
