package flyball

// A Reference is a place in code that reads a flag.
type Reference struct {
	Flag string `json:"flag"`
	File string `json:"file"` // relative to the scanned folder, with slashes
	Line int    `json:"line"` // counted from 1
}
