package demo_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
)

// history makes changes of one key out of contents: "" is a delete.
func history(changes ...demo.Change) []demo.Change {
	for i := range changes {
		changes[i].ID = i + 1
		changes[i].Object.Key = "k"
		if changes[i].Object.SHA256 == "" {
			changes[i].Kind = demo.Delete
			continue
		}
		changes[i].Identity = changes[i].Object.Identity()
	}
	return changes
}

func change(content string, follows ...int) demo.Change {
	return demo.Change{Site: "us", Kind: demo.Clash, Object: demo.Object{SHA256: content}, Follows: follows}
}

// replica holds contents at keys: "k=a", ".conflicts/k/x=b".
func replica(objects ...string) demo.Snapshot {
	s := demo.Snapshot{}
	for _, o := range objects {
		key, content, _ := strings.Cut(o, "=")
		s[key] = demo.Object{Key: key, SHA256: content}
	}
	return s
}

func TestCheck(t *testing.T) {
	edited := replica("k=a")
	edited["k"] = demo.Object{Key: "k", SHA256: "a", ContentType: "text/html"}
	for name, tc := range map[string]struct {
		changes    []demo.Change
		us, eu     demo.Snapshot
		lost       int
		difference string // a part of one; "": there is none
	}{
		"equal":                        {history(change("a")), replica("k=a"), replica("k=a"), 0, ""},
		"overwritten":                  {history(change("a"), change("b", 1)), replica("k=b"), replica("k=b"), 0, ""},
		"deleted":                      {history(change("a"), change("", 1)), replica(), replica(), 0, ""},
		"written again after a delete": {history(change("a"), change("", 1), change("b", 2)), replica("k=b"), replica("k=b"), 0, ""},
		"conflict, the loser kept":     {history(change("a"), change("b")), replica("k=a", ".conflicts/k/1=b"), replica("k=a", ".conflicts/k/1=b"), 0, ""},
		"conflict, the delete won":     {history(change("a"), change("b", 1), change("", 1)), replica(".conflicts/k/1=b"), replica(".conflicts/k/1=b"), 0, ""},
		"conflict, the put won":        {history(change("a"), change("b", 1), change("", 1)), replica("k=b"), replica("k=b"), 0, ""},

		"conflict, the loser lost":       {history(change("a"), change("b")), replica("k=a"), replica("k=a"), 1, ""},
		"the copy in one replica only":   {history(change("a"), change("b")), replica("k=a", ".conflicts/k/1=b"), replica("k=a"), 1, ".conflicts/k/1: it is in us and not in eu"},
		"a copy of another content":      {history(change("a"), change("b")), replica("k=a", ".conflicts/k/1=c"), replica("k=a", ".conflicts/k/1=c"), 1, ""},
		"a copy of another key":          {history(change("a"), change("b")), replica("k=a", ".conflicts/kk/1=b"), replica("k=a", ".conflicts/kk/1=b"), 1, ""},
		"the last write lost":            {history(change("a"), change("b", 1)), replica("k=a"), replica("k=a"), 1, "holds something that was overwritten"},
		"back after it was overwritten":  {history(change("a"), change("b", 1)), replica("k=a", ".conflicts/k/1=b"), replica("k=a", ".conflicts/k/1=b"), 0, "holds something that was overwritten"},
		"back after a delete":            {history(change("a"), change("", 1)), replica("k=a"), replica("k=a"), 0, "holds something that was overwritten, deleted"},
		"gone from everywhere":           {history(change("a")), replica(), replica(), 1, "nobody deleted it"},
		"other bytes":                    {history(change("a")), replica("k=a"), replica("k=x"), 1, "the bytes are not the same"},
		"another content type":           {history(change("a")), replica("k=a"), edited, 1, `the content type is "text/html" in eu and "" in us`},
		"an object that nobody wrote":    {history(change("a")), replica("k=a", "z=z"), replica("k=a", "z=z"), 0, "z: it is there, and nobody wrote it"},
		"not there yet":                  {history(change("a")), replica("k=a"), replica(), 1, "k: it is in us and not in eu"},
		"a delete that has not come yet": {history(change("a"), change("", 1)), replica(), replica("k=a"), 0, "k: it is in eu and not in us"},
	} {
		t.Run(name, func(t *testing.T) {
			v := demo.Check(tc.changes, map[string]demo.Snapshot{"us": tc.us, "eu": tc.eu})
			if len(v.Lost) != tc.lost {
				t.Errorf("lost: %q", v.Lost)
			}
			if tc.difference == "" && !v.Converged() || !strings.Contains(strings.Join(v.Differences, "\n"), tc.difference) {
				t.Errorf("differences: %q", v.Differences)
			}
		})
	}
}
