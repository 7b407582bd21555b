package main

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func testPlan(seed uint64) planOptions {
	return planOptions{seed: seed, count: 3000, replicas: []traits{{versioned: true}, {exact: true}, {}}, multipart: 36, keys: keySpace(400), over: time.Minute}
}

func TestPlanFollowsFromTheSeed(t *testing.T) {
	a, b, c := makePlan(testPlan(7)), makePlan(testPlan(7)), makePlan(testPlan(8))
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed, two plans")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds, one plan")
	}
}

func TestPlanHasEverythingEverywhere(t *testing.T) {
	o := testPlan(1)
	seen := map[int]map[kind]int{0: {}, 1: {}, 2: {}}
	conditional := map[bool]int{}
	races := 0
	ops := makePlan(o)
	for i, op := range ops {
		seen[op.replica][op.kind]++
		conditional[op.conditional]++
		if op.number != i {
			t.Fatalf("operation %d is at %d", op.number, i)
		}
		if on := o.replicas[op.replica]; !on.versioned && (!op.conditional || !on.exact && op.kind == opCopy && slices.Contains(o.keys, op.key)) {
			t.Errorf("operation %d is not guarded: %+v", i, op)
		}
		for _, other := range ops[i+1 : min(i+4, len(ops))] {
			if other.key == op.key && other.replica != op.replica && other.at-op.at < 10*time.Millisecond {
				races++
			}
		}
	}
	for r, kinds := range seen {
		for _, k := range []kind{opPut, opDelete, opCopy, opEdit, opMultipart} {
			if kinds[k] == 0 {
				t.Errorf("replica %d has no %s", r, k)
			}
		}
	}
	if len(ops) != 3000 || conditional[false] < 500 || conditional[true] < 500 || races < 100 {
		t.Errorf("%d operations, %v conditional, %d races", len(ops), conditional, races)
	}
}

func TestContentsSayWhatTheyAre(t *testing.T) {
	for _, size := range []int{smallest, smallest + 1, 4096, 1 << 20} {
		b := bodyOf(3, 12, size)
		if len(b) != size {
			t.Fatalf("%d bytes, want %d", len(b), size)
		}
		if op, err := identify(3, b); op != 12 || err != nil {
			t.Errorf("identify = %d, %v", op, err)
		}
		if _, err := identify(4, b); err == nil {
			t.Error("the content of another seed passes")
		}
		if _, err := identify(3, b[:size-1]); err == nil {
			t.Error("a cut content passes")
		}
		b[size-1] ^= 1
		if _, err := identify(3, b); err == nil {
			t.Error("a flipped bit passes")
		}
	}
}
