package cli

import (
	"io"
	"os"
	"testing"
)

// A terminal without a width shows no bar: what runs in it says how far it is line by line.
func TestTerminalWithoutWidthGetsPlainProgress(t *testing.T) {
	bare, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // nobody told it its size
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bare.Close() }()
	a := &App{Err: bare, Terminal: func(io.Writer) bool { return true }}
	if _, ok := a.newProgress("auto").(*plain); !ok {
		t.Error("a bar that nobody sees")
	}
	a.Err = io.Discard // the caller says that it is a terminal, and nothing speaks against it
	if p, ok := a.newProgress("auto").(*bar); !ok {
		t.Error("no bar on a terminal")
	} else {
		p.all.Shutdown()
	}
}
