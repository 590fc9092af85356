package platform

// ListenerEvents tells why the kernel does not say at once that a port opens or
// closes, in one clause a person can read; "" if it does. Where it does not, the
// ports are polled, with the same result a second later.
func ListenerEvents() string { return listenerEvents() }
