package benchmarks

import "testing"

// BenchmarkAdmitted is a handshake with a token seen before, through to the end
// of its session, beside coder/websocket with the duties of any real server.
func BenchmarkAdmitted(b *testing.B) {
	b.Run("beside coder, cut", func(b *testing.B) {
		judge(b, "1 admitted, token seen before / coder with duties", compare(b, coderWithDuties(b), admitted(b)).ratio)
	})
	b.Run("beside coder, closed", func(b *testing.B) {
		judge(b, "1 admitted, token seen before / coder with duties, closed properly", compare(b, coderClosing(b), admitted(b)).ratio)
	})
}

// BenchmarkAdmittedAlone is the same without its baseline, for profiles.
func BenchmarkAdmittedAlone(b *testing.B) {
	run := admitted(b)
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}
