package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "The version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			return e.show(v, func(p *page) { p.text("firebreak " + v.Version + ", " + v.Go + ", " + v.OS + "/" + v.Arch) })
		},
	}
}

func thisVersion() localapi.Version {
	return localapi.Version{
		Schema: localapi.Schema, Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
	}
}
