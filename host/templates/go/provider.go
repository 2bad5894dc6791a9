package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

type object map[string]any

var manifest = object{
	"protocol":  1,
	"name":      "example",
	"version":   "0.1.0",
	"lifecycle": "leased",
	"summary":   "Directories on this machine",
	"methods":   []string{"configure", "acquire", "resolve", "run", "release", "list"},
	"features":  []string{"cancel", "outputPaths"},
	"limits":    object{"createSettleMs": 0}, // a directory is there at once; most clouds need a minute
	"config": object{
		"type": "object",
		"properties": object{
			"root": object{
				"type":        "string",
				"description": "The directory that holds the leases",
				"x-crabbox":   object{"path": true, "userOnly": true},
			},
		},
	},
}

var methods = map[string]func(*params) (any, error){
	"initialize": func(*params) (any, error) { return manifest, nil },
	"configure":  configure,
	"acquire":    acquire,
	"resolve":    resolve,
	"release":    release,
	"list":       list,
}

var leaseID = regexp.MustCompile(`^cbx_[0-9a-f]{12}$`)

// The directory that holds the leases.
var root string

// find returns the lease's directory, and whether it is there. Not being able to look proves nothing.
func find(p *params) (directory string, there bool, err error) {
	if !leaseID.MatchString(p.Lease.ID) {
		return "", false, fail("internal", "not a lease id: %s", p.Lease.ID)
	}
	directory = filepath.Join(root, p.Lease.ID)
	if _, err = os.Stat(directory); os.IsNotExist(err) {
		return directory, false, nil
	}
	return directory, err == nil, err
}

func configure(p *params) (any, error) {
	root = p.Config.Root
	if root == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if state == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return object{"scope": "", "problems": []object{{"key": "root", "message": "it has no default without HOME"}}}, nil
			}
			state = filepath.Join(home, ".local/state")
		}
		root = filepath.Join(state, "crabbox-example")
	}
	problems := []object{}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		problems = append(problems, object{"key": "root", "message": "it is not a directory"})
	}
	return object{"scope": root, "problems": problems}, nil
}

func acquire(p *params) (any, error) {
	directory, _, err := find(p)
	if err == nil {
		err = os.MkdirAll(directory, 0o700)
	}
	if err != nil {
		failure, created := fail("prerequisite", "%v", err), false
		failure.Data.Created = &created
		return nil, failure
	}
	return object{"lease": object{"ref": p.Lease.ID, "root": directory}}, nil
}

func resolve(p *params) (any, error) {
	directory, there, err := find(p)
	switch {
	case err != nil:
		return nil, err
	case there:
		return object{"state": "ready", "lease": object{"root": directory}}, nil
	default:
		return object{"state": "missing"}, nil
	}
}

func release(p *params) (any, error) {
	directory, there, err := find(p)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return object{"outcome": "absent"}, nil
	case p.Action == "delete":
		if err := remove(directory); err != nil {
			return nil, err
		}
	}
	return object{"outcome": "released"}, nil
}

// remove deletes a directory, also what is read-only in it.
func remove(directory string) error {
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(directory)
}

func list(*params) (any, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	leases := []object{}
	for _, entry := range entries {
		if name := entry.Name(); leaseID.MatchString(name) {
			leases = append(leases, object{"id": name, "name": name, "ref": name, "state": "ready"})
		}
	}
	return object{"leases": leases, "complete": true}, nil
}
