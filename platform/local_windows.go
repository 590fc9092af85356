package platform

func local(Options) *Host { return &Host{} }
