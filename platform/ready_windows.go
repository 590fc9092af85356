package platform

// notifyManager has nobody to tell: the Windows service manager is told by the
// service adapter.
func notifyManager(string) error { return nil }
