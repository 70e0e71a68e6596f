package workload

import "github.com/flyballdev/flyball"

// A File is a flag as a server takes it, with what environments serve for it.
type File struct {
	flyball.Flag
	Environments map[string]Config `json:"environments"`
}

// A Config is what an environment serves for a flag.
type Config struct {
	Enabled bool           `json:"enabled"`
	Rules   []flyball.Rule `json:"rules,omitempty"`
	Default flyball.Serve  `json:"default"`
	Seed    string         `json:"seed"`
}

func configOf(c flyball.FlagConfig) Config {
	return Config{Enabled: c.Enabled, Rules: c.Rules, Default: c.Default, Seed: c.Seed}
}

// Files are the ruleset as a server takes it.
type Files struct {
	Environments []string          `json:"-"` // that they need
	Segments     []flyball.Segment `json:"segments"`
	Flags        []File            `json:"flags"`
	Reason       string            `json:"reason"`
}

// Ruled is an environment in which every plain flag has W2's rule: nothing of
// a bulk answer is the same for everybody there.
const Ruled = "ruled"

// ServerFiles returns the ruleset of [Environment], and that of [Ruled].
func ServerFiles() Files {
	files := Files{Environments: []string{Environment, Ruled}, Segments: []flyball.Segment{segment()}, Reason: "to be measured"}
	for _, key := range Everything {
		f, c := flagOf(key, KindOf(key))
		file := File{Flag: f, Environments: map[string]Config{Environment: configOf(c)}}
		if KindOf(key) == KindPlain {
			_, ruled := flagOf(key, KindCanada)
			file.Environments[Ruled] = configOf(ruled)
		}
		files.Flags = append(files.Flags, file)
	}
	return files
}
