// Package target runs servers that are measured, each as a process of its own,
// and looks at them from outside.
package target

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flyballdev/flyball/bench/workload"
)

// A Process is a program that was started here.
type Process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	mu   sync.Mutex
	said bytes.Buffer  // what it wrote on standard error
	more chan struct{} // closed at the next line
}

// Options say how a program runs.
type Options struct {
	Core int      // that it is bound to, counted from 1; 0 is any
	Env  []string // beside that of this program
}

// Run starts a program. It is killed if this one dies.
func Run(o Options, name string, args ...string) (*Process, error) {
	if o.Core > 0 {
		name, args = "taskset", append([]string{"-c", strconv.Itoa(o.Core - 1), name}, args...)
	}
	p := &Process{cmd: exec.Command(name, args...), gone: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			p.mu.Lock()
			fmt.Fprintln(&p.said, lines.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		io.Copy(io.Discard, said)
		p.cmd.Wait()
		close(p.gone)
	}()
	return p, nil
}

// Stop asks the program to end, and makes it end if it does not.
func (p *Process) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(15 * time.Second):
		p.cmd.Process.Kill()
		<-p.gone
	}
}

// await waits for a line on standard error that matches, and returns what its
// first group holds.
func (p *Process) await(pattern *regexp.Regexp, within time.Duration) (string, error) {
	late := time.After(within)
	for {
		p.mu.Lock()
		said, more := p.said.String(), p.more
		p.mu.Unlock()
		if m := pattern.FindStringSubmatch(said); m != nil {
			return m[1], nil
		}
		select {
		case <-more:
		case <-p.gone:
			return "", fmt.Errorf("%s ended: %s", p.cmd.Path, said)
		case <-late:
			return "", fmt.Errorf("%s does not say %v: %s", p.cmd.Path, pattern, said)
		}
	}
}

// ID is its process id.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// RSS tells how many bytes of memory it holds, and the most it ever held.
func (p *Process) RSS() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.ID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		switch name {
		case "VmRSS":
			now = kb << 10
		case "VmHWM":
			peak = kb << 10
		}
	}
	return now, peak, nil
}

// tick is the kernel's unit for times of processes, the same on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// CPU tells how much time it has used, to a hundredth of a second.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.ID()))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // its name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", p.ID(), len(fields))
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, nil
}

// A Server is a `flyball serve` that runs.
type Server struct {
	*Process
	URL   string
	Admin string        // a token that may do everything
	Ready time.Duration // from the start of the process until it said so
}

var (
	tokenLine = regexp.MustCompile(`admin token: (\S+)`)
	readyLine = regexp.MustCompile(`flyball is ready.* url=(\S+)`)
	urlLine   = regexp.MustCompile(`listening on (\S+)`)
)

// Serve starts a server on a folder. The admin token is that of the folder's
// first start, which has it empty.
func Serve(binary, data, admin string, o Options) (*Server, error) {
	began := time.Now()
	p, err := Run(o, binary, "serve", "--listen", "127.0.0.1:0", "--data", data)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, Admin: admin}
	if s.URL, err = p.await(readyLine, 10*time.Second); err == nil && admin == "" {
		s.Admin, err = p.await(tokenLine, time.Second)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	s.Ready = time.Since(began)
	return s, nil
}

// Floor starts a program that says on standard error where it listens.
func Floor(o Options, name string, args ...string) (*Server, error) {
	p, err := Run(o, name, args...)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p}
	if s.URL, err = p.await(urlLine, 10*time.Second); err != nil {
		p.Stop()
		return nil, err
	}
	return s, nil
}

// Call uses the management API; out may be nil.
func (s *Server) Call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Admin)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.500s", method, path, resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Seed gives an empty server the flags of the workloads. None of its environments
// is protected: what is measured is changed by one admin, whom nobody approves.
func (s *Server) Seed(ctx context.Context) error {
	files := workload.ServerFiles()
	for _, key := range files.Environments {
		err := s.Call(ctx, "POST", "/api/v1/environments", map[string]any{"key": key, "reason": files.Reason}, nil)
		if err != nil && !strings.Contains(err.Error(), "409") { // the first is there from the beginning
			return err
		}
		if err := s.Call(ctx, "PUT", "/api/v1/environments/"+key, map[string]any{"protected": false, "reason": files.Reason}, nil); err != nil {
			return err
		}
	}
	return s.Call(ctx, "PUT", "/api/v1/files", files, nil)
}

// Token makes a token that SDKs of an environment use; it opens the flags that
// a glob names, or all.
func (s *Server) Token(ctx context.Context, environment string, globs ...string) (string, error) {
	var made struct {
		Secret string `json:"secret"`
	}
	in := map[string]any{"kind": "sdk", "name": "bench", "environment": environment, "reason": "to be measured"}
	if len(globs) > 0 {
		in["flags"] = globs
	}
	err := s.Call(ctx, "POST", "/api/v1/tokens", in, &made)
	return made.Secret, err
}

// Binary returns the path of the flyball program: the one named or, if that is
// empty, the one that make build leaves, built anew where its source changed.
func Binary(ctx context.Context, named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/flyballdev/flyball").Output()
	if err != nil {
		return "", fmt.Errorf("find the source of flyball: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", "bin/flyball", "./cmd/flyball")
	build.Dir, build.Env = strings.TrimSpace(string(root)), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build flyball: %w: %s", err, out)
	}
	return filepath.Join(build.Dir, "bin", "flyball"), nil
}
