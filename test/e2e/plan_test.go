package e2e

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
	seen := map[int]map[Kind]int{0: {}, 1: {}, 2: {}}
	conditional := map[bool]int{}
	races := 0
	ops := makePlan(o)
	for i, op := range ops {
		seen[op.Replica][op.Kind]++
		conditional[op.Conditional]++
		if op.Number != i {
			t.Fatalf("operation %d is at %d", op.Number, i)
		}
		if on := o.replicas[op.Replica]; !on.versioned && (!op.Conditional || !on.exact && op.Kind == OpCopy && slices.Contains(o.keys, op.Key)) {
			t.Errorf("operation %d is not guarded: %+v", i, op)
		}
		for _, other := range ops[i+1 : min(i+4, len(ops))] {
			if other.Key == op.Key && other.Replica != op.Replica && other.At-op.At < 10*time.Millisecond {
				races++
			}
		}
	}
	for r, kinds := range seen {
		for _, k := range []Kind{OpPut, OpDelete, OpCopy, OpEdit, OpMultipart} {
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
