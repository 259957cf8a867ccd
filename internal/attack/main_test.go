package attack_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs many tests at once, however few processors there are: they wait for servers that are slow on purpose.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == flag.Lookup("test.parallel").DefValue {
		flag.Set("test.parallel", "12")
	}
	os.Exit(m.Run())
}
