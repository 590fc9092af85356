package platform

// StoredSockets returns the sockets that the service manager kept for this
// program since its last run, by the names they were stored under, as
// sd_listen_fds(3) hands them over. They are taken once: a second call returns
// none, and neither do programs that this one starts. Of two with one name the
// first counts and the other is closed.
func StoredSockets() map[string]int { return storedSockets() }

// StoreSocket has the service manager keep a socket under a name while this
// program is not there: killed, restarted, replaced. It takes the place of what
// was stored under that name, so a socket that StoredSockets returned is not
// stored again. Without a service manager that keeps sockets it does nothing.
func StoreSocket(name string, fd int) error { return storeSocket(name, fd) }
