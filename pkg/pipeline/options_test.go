package pipeline

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func TestOnlyWhoNamesNeitherTokensNorTopicsIsOpenAndThenOnLoopbackAlone(t *testing.T) {
	tokens, topics := []string{"secret"}, []string{"arn:aws:sns:us-east-1:111122223333:media"}
	for _, tt := range []struct {
		name    string
		o       Options
		open    bool
		refused bool
	}{
		{"nothing, loopback", Options{Listen: "127.0.0.1:0"}, true, false},
		{"nothing, network", Options{Listen: "0.0.0.0:0"}, true, true},
		{"topics, loopback", Options{Listen: "127.0.0.1:0", Topics: topics}, false, false},
		{"topics, network", Options{Listen: "0.0.0.0:0", Topics: topics}, false, false},
		{"tokens, network", Options{Listen: "0.0.0.0:0", Tokens: tokens}, false, false},
	} {
		if got := tt.o.open(); got != tt.open {
			t.Errorf("%s: open %v", tt.name, got)
		}
		if err := tt.o.checkListen(); (err != nil) != tt.refused || err != nil && !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
