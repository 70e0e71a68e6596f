package api

import "time"

// What the server does by the clock, for tests that do not wait so long.

func (s *Server) Beat(every time.Duration)    { s.pace.beat = every }
func (s *Server) Recheck(every time.Duration) { s.pace.recheck = every }
func (s *Server) Write(within time.Duration)  { s.pace.write = within }
func (s *Server) Most(streams int64)          { s.streams.all = int(streams) }
func (s *Server) Streams() int64 {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	return int64(s.streams.open)
}

// Waiting is how many requests wait for something to happen.
func (s *Server) Waiting() int {
	s.waits.mu.Lock()
	defer s.waits.mu.Unlock()
	return int(s.waits.open)
}

// UsualRecheck returns how often a stream's token is looked at in earnest.
func UsualRecheck() time.Duration { return usual.recheck }

// Cleaned is how text by others is told to agents.
func Cleaned(text string) string { return cleaned(text) }
