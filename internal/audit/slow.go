package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
)

const (
	// slowClients each send a request of which a header line comes now and then.
	slowClients = 200
	// slowEnd is when the last of them must be gone: two seconds until all have connected, ten of ReadHeaderTimeout, and
	// some for a busy machine.
	slowEnd = 18
)

// readSlow reads slowhttptest's table, a line for each second: Seconds, Closed, Pending, Connected, Service Available.
func readSlow(result, said []byte) ([]check, error) {
	lines, err := csv.NewReader(bytes.NewReader(result)).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(lines) < 2 {
		return nil, errors.New("no second is in it")
	}
	var second, closed, most, away int
	for _, line := range lines[1:] {
		if len(line) != 5 {
			return nil, fmt.Errorf("a line of %d columns", len(line))
		}
		var n [5]int
		for i, text := range line {
			if n[i], err = strconv.Atoi(text); err != nil {
				return nil, err
			}
		}
		second, closed, most = n[0], n[1], max(most, n[3])
		if n[4] == 0 {
			away++
		}
	}
	return []check{
		{name: "slow headers get in", seen: fmt.Sprintf("%d at once", most), good: most >= slowClients/2},
		{name: "slow headers are closed", seen: fmt.Sprintf("%d closed by second %d, then: %s", closed, second, ending(said)), good: bytes.Contains(said, allClosed) && second <= slowEnd},
		{name: "service available", seen: fmt.Sprintf("away in %d of %d seconds", away, len(lines)-1), good: away == 0},
	}, nil
}

// allClosed is how slowhttptest tells that the server has ended every connection. The table lacks the second in which it did.
var allClosed = []byte("No open connections left")

func ending(said []byte) string {
	if bytes.Contains(said, allClosed) {
		return "none is open"
	}
	return "some are open"
}
