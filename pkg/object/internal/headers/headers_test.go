package headers_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/object/internal/headers"
)

func TestEveryValueComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ =?UTF8BQq_\-a-z]{0,40}`)).Draw(t, "value")
		for _, sent := range []string{headers.Encode(v), headers.Word(v)} {
			if !headers.Printable(sent) {
				t.Fatalf("%q is sent as %q", v, sent)
			}
			if got := headers.Decode(sent); got != v {
				t.Fatalf("%q came back as %q (sent %q)", v, got, sent)
			}
		}
	})
}

func TestOrdinaryValuesAreReadable(t *testing.T) {
	for _, v := range []string{"", "value", "a b  c", "100%25+1", "=a=", "?="} {
		if got := headers.Encode(v); got != v {
			t.Errorf("%q is sent as %q", v, got)
		}
	}
	if got := headers.Decode("=?broken"); got != "=?broken" {
		t.Errorf("what is no encoded word came back as %q", got)
	}
}
