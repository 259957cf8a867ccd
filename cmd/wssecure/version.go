package main

import (
	"fmt"
	"runtime/debug"
)

// version is that of the module, or what it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return "devel"
}

func versionLine() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "wssecure " + version()
	}
	return fmt.Sprintf("wssecure %s, built with %s", version(), info.GoVersion)
}
