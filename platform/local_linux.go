package platform

func local(o Options) *Host {
	firewall := newKeptFirewall(storedLine{})
	return &Host{
		Observer:    newObserver(o, firewall),
		Firewall:    firewall,
		Connections: newConnections(),
		Routes:      newRoutes(),
		Services:    newServices(),
		Supervisors: newSupervisors(),
		Processes:   newProcesses(),
		Binds:       newBinds(),
		Notifier:    newNotifier(),
		Flags:       newFlags(o.StateDir),
		Prober:      newProber(),
		Files:       newFiles(),
	}
}
