package platform

func storedSockets() map[string]int { return nil }

func storeSocket(string, int) error { return nil }
