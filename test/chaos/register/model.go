// Package register checks that a bucket's conditional requests are linearizable: that what concurrent clients were told can be
// put in one order, in which each answer follows from the register's value at that moment, and which agrees with real time.
// Everything that bucketmesh promises rests on this property of the servers.
//
// A key is a register. Its values are contents, each of which is written once, so that a tag names a value: If-Match is
// compare-and-set, If-None-Match: * is compare-and-set from absence.
//
// Errors: Record fails only if its requests can't be told from an outage. A history that is not linearizable is the answer of
// Check, no error.
//
// Concurrency: Record starts its clients and waits for them. Histories are values.
package register

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind of a request.
type Kind string

// The kinds.
const (
	Read   Kind = "read"
	Put    Kind = "put"    // without a condition
	Create Kind = "create" // put if absent
	Swap   Kind = "swap"   // put if the value is Old
	Remove Kind = "remove" // delete if the value is Old
)

// Absent is the value of a register that holds nothing. All others are positive.
const Absent = 0

// Input of a request.
type Input struct {
	Key      string
	Kind     Kind
	Old, New int
}

// Answer of a request.
type Answer string

// The answers.
const (
	Done    Answer = "done"
	Refused Answer = "refused" // the condition did not hold
	Unknown Answer = "unknown" // a timeout, a broken connection, an error of the server: it may have happened, or may happen yet
)

// Output of a request. Value is what a read found.
type Output struct {
	Answer Answer
	Value  int
}

// Operation is one request of a history. The times are nanoseconds on one clock.
type Operation struct {
	Client       int
	Input        Input
	Output       Output
	Call, Return int64
}

// History is what all clients did.
type History []Operation

// step is the register: whether a request may have had its answer at a value, and the value after it. A request with an
// unknown answer may take effect at any time after its call. Its place at the very end of an order, where nobody sees what it
// did, stands for not having happened.
func step(value int, in Input, out Output) (ok bool, after int) {
	switch in.Kind {
	case Read:
		return out.Value == value, value
	case Put:
		return out.Answer != Refused, in.New
	case Create:
		return compareAndSet(value == Absent, out.Answer, value, in.New)
	case Swap:
		return compareAndSet(value == in.Old, out.Answer, value, in.New)
	case Remove:
		if value == Absent && out.Answer == Done {
			return true, Absent // servers may say so of what is gone already: it is absent either way
		}
		return compareAndSet(value == in.Old, out.Answer, value, Absent)
	}
	return false, value
}

func compareAndSet(holds bool, a Answer, value, next int) (ok bool, after int) {
	if !holds {
		return a != Done, value
	}
	return a != Refused, next
}

// model is step for the checker, one register for each key.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return Absent },
		Step: func(state, in, out any) (bool, any) {
			value, okState := state.(int)
			input, okIn := in.(Input)
			output, okOut := out.(Output)
			if !okState || !okIn || !okOut {
				return false, state
			}
			ok, after := step(value, input, output)
			return ok, after
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
		DescribeState:     func(state any) string { return fmt.Sprint(state) },
	}
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	index := map[string]int{}
	var parts [][]porcupine.Operation
	for _, op := range history {
		in, ok := op.Input.(Input)
		if !ok {
			continue
		}
		i, there := index[in.Key]
		if !there {
			i = len(parts)
			index[in.Key] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// Verdict is the answer of Check.
type Verdict string

// The verdicts.
const (
	Linearizable Verdict = "linearizable"
	Broken       Verdict = "NOT LINEARIZABLE"
	Undecided    Verdict = "undecided" // there was not enough time to look at all orders
)

// Check looks for an order. If there is none, it draws the history as a web page, unless path is "".
func Check(h History, limit time.Duration, path string) (Verdict, error) {
	ops := make([]porcupine.Operation, 0, len(h))
	var end int64
	for _, op := range h {
		end = max(end, op.Return)
	}
	for _, op := range h {
		until := op.Return
		if op.Output.Answer == Unknown {
			if op.Input.Kind == Read {
				continue // it says nothing
			}
			until = end + 1
		}
		ops = append(ops, porcupine.Operation{ClientId: op.Client, Input: op.Input, Output: op.Output, Call: op.Call, Return: until})
	}
	result, info := porcupine.CheckOperationsVerbose(model(), ops, limit)
	switch result {
	case porcupine.Ok:
		return Linearizable, nil
	case porcupine.Unknown:
		return Undecided, nil
	case porcupine.Illegal:
	}
	if path == "" {
		return Broken, nil
	}
	if err := porcupine.VisualizePath(model(), info, path); err != nil {
		return Broken, fmt.Errorf("draw history: %w", err)
	}
	return Broken, nil
}
