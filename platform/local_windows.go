package platform

func local(o Options) *Host {
	firewall := newFirewall()
	return &Host{Observer: newObserver(o, firewall), Firewall: firewall, Services: newServices()}
}
