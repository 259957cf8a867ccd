package token

// A NoticeKind is what a Notice reports.
type NoticeKind uint8

const (
	// Refreshed: a fetch gave a usable key set.
	Refreshed NoticeKind = iota
	// Failed: a fetch failed; the keys known before, if any, stay.
	Failed
)

// A Notice reports one fetch of a key set.
type Notice struct {
	Kind NoticeKind
	URL  string
	Keys int // usable keys now held
	Err  error
}
