package rpm

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// offered is a package in primary.xml.
type offered struct {
	Name    string     `xml:"name"`
	Arch    string     `xml:"arch"`
	Version versionXML `xml:"version"`
	Entries []struct {
		Name  string `xml:"name,attr"`
		Flags string `xml:"flags,attr"`
		versionXML
	} `xml:"format>obsoletes>entry"`
}

type versionXML struct {
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

// readPrimary reads which versions a repository has of what is installed, and which
// of its packages take the place of one that is installed.
func (o *offer) readPrimary(ctx context.Context, in io.Reader, r *repository) error {
	count := 0
	head, err := elements(ctx, in, "<package ", "</package>", func(b []byte) error {
		count++
		name := between(b, "<name>", "</name>")
		replaces := o.replaces(b)
		if !o.names[name] && !replaces {
			return nil
		}
		var p offered
		if err := xml.Unmarshal(b, &p); err != nil {
			return err
		}
		c, err := p.candidate(r)
		if err != nil || c.arch == "src" || c.arch == "nosrc" {
			return err
		}
		if o.names[name] {
			o.versions[name] = append(o.versions[name], c)
		}
		if replaces {
			o.obsoleters = append(o.obsoleters, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if says := attribute([]byte(head), "packages"); says != strconv.Itoa(count) {
		return fmt.Errorf("has %d packages and says it has %q", count, says)
	}
	return nil
}

// replaces says that an element names something installed among what it obsoletes.
func (o *offer) replaces(b []byte) bool {
	_, after, _ := bytes.Cut(b, []byte("<rpm:obsoletes>"))
	after, _, _ = bytes.Cut(after, []byte("</rpm:obsoletes>"))
	for {
		_, rest, ok := bytes.Cut(after, []byte(` name="`))
		if !ok {
			return false
		}
		name, rest, _ := bytes.Cut(rest, []byte(`"`))
		if o.names[string(name)] {
			return true
		}
		after = rest
	}
}

func (p offered) candidate(r *repository) (candidate, error) {
	e, err := versionOf(p.Version.Epoch, p.Version.Version, p.Version.Release)
	if err != nil || p.Name == "" || p.Arch == "" {
		return candidate{}, errors.Join(fmt.Errorf("package %q", p.Name), err)
	}
	c := candidate{name: p.Name, arch: p.Arch, evr: e, repository: r}
	for _, entry := range p.Entries {
		rel := relation{name: entry.Name, flag: entry.Flags}
		if entry.Flags != "" {
			if rel.evr, err = versionOf(entry.Epoch, entry.Version, entry.Release); err != nil {
				return candidate{}, fmt.Errorf("package %s: %w", p.Name, err)
			}
		}
		c.obsoletes = append(c.obsoletes, rel)
	}
	return c, nil
}

func between(b []byte, begin, end string) string {
	_, after, ok := bytes.Cut(b, []byte(begin))
	value, _, closed := bytes.Cut(after, []byte(end))
	if !ok || !closed {
		return ""
	}
	return string(value)
}
