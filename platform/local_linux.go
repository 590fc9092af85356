package platform

func local(o Options) *Host { return &Host{} }
