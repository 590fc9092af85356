package rpm

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"strings"
	"time"
)

// announced is an advisory in updateinfo.xml.
type announced struct {
	Type     string `xml:"type,attr"`
	ID       string `xml:"id"`
	Severity string `xml:"severity"`
	Issued   struct {
		Date string `xml:"date,attr"`
	} `xml:"issued"`
	References []struct {
		Type string `xml:"type,attr"`
		ID   string `xml:"id,attr"`
	} `xml:"references>reference"`
	Collections []struct {
		Module struct {
			Name   string `xml:"name,attr"`
			Stream string `xml:"stream,attr"`
		} `xml:"module"`
		Packages []struct {
			Name    string `xml:"name,attr"`
			Arch    string `xml:"arch,attr"`
			Epoch   string `xml:"epoch,attr"`
			Version string `xml:"version,attr"`
			Release string `xml:"release,attr"`
		} `xml:"package"`
	} `xml:"pkglist>collection"`
}

// readAdvisories reads the advisories about security of what is installed.
func (o *offer) readAdvisories(ctx context.Context, in io.Reader) error {
	_, err := elements(ctx, in, "<update ", "</update>", func(b []byte) error {
		tag, _, _ := bytes.Cut(b, []byte(">"))
		if attribute(tag, "type") == "security" && !o.announces(b) {
			return nil
		}
		var a announced
		if attribute(tag, "type") != "security" && bytes.Contains(tag, []byte(`type="`)) {
			return nil
		}
		if err := xml.Unmarshal(b, &a); err != nil {
			return err
		}
		if a.Type == "security" {
			return o.add(a)
		}
		return nil
	})
	return err
}

// announces says that an element names a package that is installed.
func (o *offer) announces(b []byte) bool {
	for {
		_, after, ok := bytes.Cut(b, []byte("<package "))
		if !ok {
			return false
		}
		tag, rest, _ := bytes.Cut(after, []byte(">"))
		if o.names[attribute(append([]byte(" "), tag...), "name")] {
			return true
		}
		b = rest
	}
}

func (o *offer) add(from announced) error {
	a := &advisory{id: from.ID, severity: severity(from.Severity)}
	if len(from.Issued.Date) >= len(time.DateOnly) {
		// A date that cannot be read is one that is not known.
		a.issued, _ = time.Parse(time.DateOnly, from.Issued.Date[:len(time.DateOnly)])
	}
	for _, r := range from.References {
		if r.Type == "cve" && strings.HasPrefix(r.ID, "CVE-") {
			a.cves = append(a.cves, r.ID)
		}
	}
	for _, c := range from.Collections {
		module := ""
		if c.Module.Name != "" {
			module = c.Module.Name + ":" + c.Module.Stream
		}
		for _, p := range c.Packages {
			if !o.names[p.Name] || p.Arch == "src" || p.Arch == "nosrc" {
				continue
			}
			e, err := versionOf(p.Epoch, p.Version, p.Release)
			if err != nil {
				return err
			}
			o.advisories[p.Name] = append(o.advisories[p.Name], fix{arch: p.Arch, evr: e, module: module, advisory: a})
		}
	}
	return nil
}
