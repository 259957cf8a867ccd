package main

import (
	"encoding/xml"
	"errors"
)

// readSSLScan reads sslscan's XML.
func readSSLScan(result, _ []byte) ([]check, error) {
	var r struct {
		Tests []struct {
			Protocols []struct {
				Type    string `xml:"type,attr"`
				Version string `xml:"version,attr"`
				Enabled string `xml:"enabled,attr"`
			} `xml:"protocol"`
			Compression []struct {
				Supported string `xml:"supported,attr"`
			} `xml:"compression"`
			Heartbleed []struct {
				Version    string `xml:"sslversion,attr"`
				Vulnerable string `xml:"vulnerable,attr"`
			} `xml:"heartbleed"`
			Ciphers []struct {
				Version  string `xml:"sslversion,attr"`
				Name     string `xml:"cipher,attr"`
				Strength string `xml:"strength,attr"`
			} `xml:"cipher"`
		} `xml:"ssltest"`
	}
	if err := xml.Unmarshal(result, &r); err != nil {
		return nil, err
	}
	if len(r.Tests) != 1 {
		return nil, errors.New("no test is in it")
	}
	t := r.Tests[0]
	var offered, suites, complaints []string
	for _, p := range t.Protocols {
		switch {
		case p.Enabled != "1":
		case p.Type == "ssl":
			offered = append(offered, "SSL "+p.Version)
		default:
			offered = append(offered, p.Version)
		}
	}
	for _, c := range t.Ciphers {
		suites = append(suites, c.Version+" "+c.Name)
		if c.Strength != "strong" && c.Strength != "acceptable" {
			complaints = append(complaints, c.Name+" is "+c.Strength)
		}
	}
	for _, c := range t.Compression {
		if c.Supported != "0" {
			complaints = append(complaints, "compression")
		}
	}
	for _, h := range t.Heartbleed {
		if h.Vulnerable != "0" {
			complaints = append(complaints, "Heartbleed with "+h.Version)
		}
	}
	return []check{versions(offered), aead(suites), none("weak suites, compression", complaints)}, nil
}
