// The provider `example` for crabbox: a lease is a directory on this machine.
//
// What to replace by a place of your own: provider.go. This file is the protocol, and can stay.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// A Failure is a request that fails. The kind is from a closed list and decides what the host does.
type Failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Kind    string `json:"kind"`
		Created *bool  `json:"created,omitempty"`
		Remote  string `json:"remote,omitempty"`
	} `json:"data"`
}

func (f *Failure) Error() string { return f.Message }

func fail(kind, format string, args ...any) *Failure {
	failure := &Failure{Code: -32000, Message: strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")}
	failure.Data.Kind = kind
	return failure
}

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *Failure        `json:"error,omitempty"`
}

// What requests carry, as far as this provider needs it.
type params struct {
	Lease  struct{ ID string }
	Config struct{ Root string }
	Action string
	Argv   []string
	Stdin  *file
	Stdout file
	Stderr file
	// Of a cancel: which request.
	Request json.RawMessage
}

type file struct{ Path string }

var out = struct {
	sync.Mutex
	*json.Encoder
}{Encoder: json.NewEncoder(os.Stdout)}

// answer sends the one response to a request. There are several goroutines, and a message is one line.
func answer(id json.RawMessage, result any, err error) {
	message := response{Version: "2.0", ID: id, Result: result}
	if err != nil {
		var failure *Failure
		if !errors.As(err, &failure) {
			failure = fail("unavailable", "%v", err)
		}
		message.Result, message.Error = nil, failure
	}
	out.Lock()
	defer out.Unlock()
	if out.Encode(message) != nil {
		os.Exit(1) // the host is gone
	}
}

func handle(line []byte) {
	var r request
	var p params
	if err := json.Unmarshal(line, &r); err != nil {
		fmt.Fprintf(os.Stderr, "not a message: %v\n", err)
		os.Exit(1)
	}
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &p); err != nil {
			answer(r.ID, nil, fail("internal", "cannot read the parameters: %v", err))
			return
		}
	}
	switch {
	case r.Method == "cancel":
		cancel(string(p.Request))
	case r.ID == nil: // a notification that is not known is ignored
	case r.Method == "run":
		command, err := start(&p, string(r.ID))
		if err != nil {
			answer(r.ID, nil, err)
			return
		}
		go func() { // so that a cancel can be read meanwhile
			result, err := command.wait()
			answer(r.ID, result, err)
		}()
	case methods[r.Method] != nil:
		result, err := methods[r.Method](&p)
		answer(r.ID, result, err)
	default:
		failure := fail("unsupported", "no method %s", r.Method)
		failure.Code = -32601
		answer(r.ID, nil, failure)
	}
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "--stdio" {
		fmt.Println("The provider `example` for crabbox. Put it on PATH, then: crabbox run --provider example -- COMMAND")
		return
	}
	// Not by bufio.Scanner, which takes no line over 64 KiB.
	stdin := bufio.NewReader(os.Stdin)
	for {
		line, err := stdin.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			handle(line)
		}
		if err != nil {
			if err != io.EOF {
				fmt.Fprintln(os.Stderr, err)
			}
			break
		}
	}
	// The end of standard input means: end now, and take along what was started.
	killAll()
}
