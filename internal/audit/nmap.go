package main

import (
	"encoding/xml"
	"errors"
	"slices"
	"strings"
)

// An nmapTable is what nmap's scripts report: tables of tables and elements, some with a key.
type nmapTable struct {
	Key    string      `xml:"key,attr"`
	Tables []nmapTable `xml:"table"`
	Elems  []struct {
		Key  string `xml:"key,attr"`
		Text string `xml:",chardata"`
	} `xml:"elem"`
}

func (t nmapTable) table(key string) nmapTable {
	i := slices.IndexFunc(t.Tables, func(sub nmapTable) bool { return sub.Key == key })
	if i < 0 {
		return nmapTable{}
	}
	return t.Tables[i]
}

func (t nmapTable) elem(key string) string {
	for _, e := range t.Elems {
		if e.Key == key {
			return e.Text
		}
	}
	return ""
}

// readNmap reads the XML of ssl-enum-ciphers.
func readNmap(result, _ []byte) ([]check, error) {
	var r struct {
		Scripts []nmapTable `xml:"host>ports>port>script"`
	}
	if err := xml.Unmarshal(result, &r); err != nil {
		return nil, err
	}
	if len(r.Scripts) != 1 {
		return nil, errors.New("ssl-enum-ciphers says nothing")
	}
	script := r.Scripts[0]
	var offered, suites, complaints []string
	for _, version := range script.Tables {
		offered = append(offered, strings.TrimPrefix(version.Key, "TLSv"))
		for _, c := range version.table("ciphers").Tables {
			suites = append(suites, c.elem("name"))
		}
		for _, c := range version.table("compressors").Elems {
			if c.Text != "NULL" {
				complaints = append(complaints, "compression "+c.Text)
			}
		}
		for _, w := range version.table("warnings").Elems {
			complaints = append(complaints, w.Text)
		}
	}
	least := script.elem("least strength")
	return []check{versions(offered), aead(suites), none("warnings, compression", complaints), {name: "least strength A", seen: or(least, "not said"), good: least == "A"}}, nil
}
