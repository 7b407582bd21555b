package register_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/bucketmesh/bucketmesh/test/chaos/register"
)

// op is a request from one moment to another.
func op(client int, call, ret int64, in Input, out Output) Operation {
	in.Key = "k"
	return Operation{Client: client, Input: in, Output: out, Call: call, Return: ret}
}

func put(n int) Input        { return Input{Kind: Put, New: n} }
func create(n int) Input     { return Input{Kind: Create, New: n} }
func swap(old, n int) Input  { return Input{Kind: Swap, Old: old, New: n} }
func remove(old int) Input   { return Input{Kind: Remove, Old: old} }
func found(value int) Output { return Output{Answer: Done, Value: value} }

func TestVerdicts(t *testing.T) {
	var (
		read    = Input{Kind: Read}
		done    = Output{Answer: Done}
		refused = Output{Answer: Refused}
		unknown = Output{Answer: Unknown}
	)
	for name, tc := range map[string]struct {
		h    History
		want Verdict
	}{
		"one after the other": {History{op(1, 1, 2, create(1), done), op(1, 3, 4, swap(1, 2), done), op(2, 5, 6, read, found(2))}, Linearizable},
		"a stale read":        {History{op(1, 1, 2, create(1), done), op(1, 3, 4, swap(1, 2), done), op(2, 5, 6, read, found(1))}, Broken},
		"a read meanwhile may see either": {History{op(1, 1, 2, create(1), done), op(1, 3, 9, swap(1, 2), done), op(2, 4, 5, read, found(1)),
			op(2, 6, 7, read, found(2))}, Linearizable},
		"but not the new one and then the old one": {History{op(1, 1, 2, create(1), done), op(1, 3, 9, swap(1, 2), done), op(2, 4, 5, read, found(2)),
			op(2, 6, 7, read, found(1))}, Broken},
		"two winners of one create":   {History{op(1, 1, 5, create(1), done), op(2, 1, 5, create(2), done)}, Broken},
		"two winners of one swap":     {History{op(1, 1, 2, create(1), done), op(1, 3, 9, swap(1, 2), done), op(2, 3, 9, swap(1, 3), done)}, Broken},
		"one winner of one swap":      {History{op(1, 1, 2, create(1), done), op(1, 3, 9, swap(1, 2), done), op(2, 3, 9, swap(1, 3), refused)}, Linearizable},
		"a refusal without a reason":  {History{op(1, 1, 2, create(1), done), op(1, 3, 4, swap(1, 2), refused)}, Broken},
		"a lost update":               {History{op(1, 1, 2, create(1), done), op(2, 3, 4, put(2), done), op(1, 5, 6, swap(1, 3), done)}, Broken},
		"bytes that nobody wrote":     {History{op(1, 1, 2, create(1), done), op(1, 3, 4, read, found(-1))}, Broken},
		"a delete of another value":   {History{op(1, 1, 2, create(1), done), op(2, 3, 4, swap(1, 2), done), op(1, 5, 6, remove(1), done)}, Broken},
		"a delete of what is gone":    {History{op(1, 1, 2, create(1), done), op(2, 3, 4, remove(1), done), op(1, 5, 6, remove(1), done)}, Linearizable},
		"gone after a delete":         {History{op(1, 1, 2, create(1), done), op(2, 3, 4, remove(1), done), op(1, 5, 6, read, found(1))}, Broken},
		"unknown, and it happened":    {History{op(1, 1, 2, create(1), unknown), op(2, 3, 4, read, found(1))}, Linearizable},
		"unknown, and it did not":     {History{op(1, 1, 2, create(1), unknown), op(2, 3, 4, read, found(Absent))}, Linearizable},
		"unknown, and it came late":   {History{op(1, 1, 2, create(1), unknown), op(2, 3, 4, read, found(Absent)), op(2, 5, 6, read, found(1))}, Linearizable},
		"unknown, and then undone":    {History{op(1, 1, 2, create(1), unknown), op(2, 3, 4, read, found(1)), op(2, 5, 6, read, found(Absent))}, Broken},
		"an unknown put comes once":   {History{op(1, 1, 2, put(1), unknown), op(2, 3, 4, put(2), done), op(2, 5, 6, read, found(1)), op(2, 7, 8, put(3), done), op(2, 9, 10, read, found(1))}, Broken},
		"a read without an answer":    {History{op(1, 1, 2, create(1), done), op(2, 3, 4, read, unknown)}, Linearizable},
		"other keys are other things": {History{op(1, 1, 2, create(1), done), {Client: 2, Input: Input{Key: "other", Kind: Read}, Output: found(Absent), Call: 3, Return: 4}}, Linearizable},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Check(tc.h, time.Minute, ""); err != nil || got != tc.want {
				t.Errorf("%s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestABrokenHistoryIsDrawn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.html")
	h := History{op(1, 1, 5, create(1), Output{Answer: Done}), op(2, 1, 5, create(2), Output{Answer: Done})}
	if got, err := Check(h, time.Minute, path); err != nil || got != Broken {
		t.Fatalf("%s, %v", got, err)
	}
	if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
