package pipeline

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
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
		{"push accounts, network", Options{Listen: "0.0.0.0:0", Push: receive.Push{Audience: "a", Accounts: []string{"a@x"}}}, false, false},
		{"push audience, network", Options{Listen: "0.0.0.0:0", Push: receive.Push{Audience: "a"}}, false, false},
		{"push keys, network", Options{Listen: "0.0.0.0:0", Push: receive.Push{KeysURL: "https://keys.example/"}}, true, true},
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
