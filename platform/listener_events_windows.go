package platform

func listenerEvents() string { return "on Windows nothing tells of ports" }
