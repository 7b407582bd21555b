package headers_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/object/internal/headers"
)

func TestEveryValueComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ =?UTF8BQq_\-a-z]{0,40}`)).Draw(t, "value")
		for _, sent := range []string{headers.EncodeWord(v), headers.Word(v)} {
			if !headers.Printable(sent) {
				t.Fatalf("%q is sent as %q", v, sent)
			}
			if got := headers.DecodeWord(sent); got != v {
				t.Fatalf("%q came back as %q (sent %q)", v, got, sent)
			}
		}
		if got := headers.Decode(headers.Encode(v)); got != v {
			t.Fatalf("%q came back as %q (sent %q)", v, got, headers.Encode(v))
		}
	})
}

// A user's own encoded word is a value like any other where nobody would have encoded it.
func TestTrapWordsOfUsersStayAsTheyAre(t *testing.T) {
	for _, v := range []string{"=?UTF-8?Q?abc?=", "=?UTF-8?B?YWJj?=", "a =?x?= b"} {
		if got := headers.Decode(v); got != v {
			t.Errorf("%q came back as %q", v, got)
		}
	}
	for _, v := range []string{"=?UTF-8?Q?gr=C3=BC?=", "=?utf-8?b?Z3LDvA==?="} {
		if got := headers.Decode(v); got != "grü" {
			t.Errorf("%q, which is how S3 answers, came back as %q", v, got)
		}
		if got := headers.DecodeWord(v); got != v {
			t.Errorf("%q, which we never write, came back as %q", v, got)
		}
	}
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
