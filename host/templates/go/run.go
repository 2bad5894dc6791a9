package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// How long a cancelled command has to end by itself.
const grace = 3 * time.Second

var environment = regexp.MustCompile(`^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR)=`)

// A command on a lease.
type command struct {
	*exec.Cmd
	request   string
	cancelled bool
}

var runs = struct {
	sync.Mutex
	byRequest map[string]*command
}{byRequest: map[string]*command{}}

// start starts a command, its output going straight to the paths that the host reads.
func start(p *params, request string) (*command, error) {
	directory, there, err := find(p)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, absent("notFound", "no lease at "+directory)
	}
	if len(p.Argv) == 0 {
		return nil, absent("internal", "a run without a program")
	}
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Dir = directory
	cmd.Env = []string{} // nil would be all of ours
	for _, variable := range os.Environ() {
		if environment.MatchString(variable) {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	// A group of its own, so that all of it can be ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	source := os.DevNull
	if p.Stdin != nil {
		source = p.Stdin.Path
	}
	stdin, err := os.Open(source)
	if err != nil {
		return nil, absent("internal", err.Error())
	}
	defer stdin.Close()
	stdout, err := os.OpenFile(p.Stdout.Path, os.O_WRONLY, 0)
	if err != nil {
		return nil, absent("internal", err.Error())
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(p.Stderr.Path, os.O_WRONLY, 0)
	if err != nil {
		return nil, absent("internal", err.Error())
	}
	defer stderr.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	runs.Lock()
	defer runs.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, absent("prerequisite", err.Error())
	}
	started := &command{Cmd: cmd, request: request}
	runs.byRequest[request] = started
	return started, nil
}

// absent is a failure of a command that was never started.
func absent(kind, message string) *Failure {
	failure := fail(kind, "%s", message)
	failure.Data.Remote = "absent"
	return failure
}

// wait waits for the end of a command, and says what it was.
func (c *command) wait() (any, error) {
	err := c.Wait()
	runs.Lock()
	delete(runs.byRequest, c.request)
	cancelled := c.cancelled
	runs.Unlock()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	// An answer to a cancelled run means that nothing of it is alive.
	if cancelled && !c.isDead() {
		failure := fail("cancelled", "the command may still run")
		failure.Data.Remote = "unknown"
		return nil, failure
	}
	if status := c.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return object{"signal": strconv.Itoa(int(status.Signal()))}, nil
	}
	return object{"exitCode": c.ProcessState.ExitCode()}, nil
}

func cancel(request string) {
	runs.Lock()
	defer runs.Unlock()
	c := runs.byRequest[request]
	if c == nil || c.cancelled {
		return
	}
	c.cancelled = true
	c.signal(syscall.SIGTERM)
	time.AfterFunc(grace, func() {
		runs.Lock()
		defer runs.Unlock()
		if runs.byRequest[request] == c {
			c.signal(syscall.SIGKILL)
		}
	})
}

// signal signals the command's whole group, and says whether there was anything left of it.
func (c *command) signal(signal syscall.Signal) bool {
	return syscall.Kill(-c.Process.Pid, signal) == nil
}

// isDead kills what is left of the group.
func (c *command) isDead() bool {
	for until := time.Now().Add(2 * time.Second); c.signal(syscall.SIGKILL); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			return false
		}
	}
	return true
}

func killAll() {
	runs.Lock()
	for _, c := range runs.byRequest {
		c.signal(syscall.SIGKILL)
	}
}
