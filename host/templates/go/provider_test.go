package main

import (
	"os"
	"os/exec"
	"testing"
)

// What crabbox itself asks of every provider. CRABBOX is where it is, if not on PATH.
func TestConformance(t *testing.T) {
	executable := t.TempDir() + "/crabbox-provider-example"
	if output, err := exec.Command("go", "build", "-o", executable, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	crabbox := os.Getenv("CRABBOX")
	if crabbox == "" {
		crabbox = "crabbox"
	}
	if output, err := exec.Command(crabbox, "plugins", "check", "--live", executable).CombinedOutput(); err != nil {
		t.Fatalf("crabbox plugins check: %v\n%s", err, output)
	}
}
