package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/bucketmesh/bucketmesh/pkg/scan"
)

// progress shows a backfill while it runs, on standard error.
type progress interface {
	update(p scan.Progress)
	end(p scan.Progress)
}

func (a *App) newProgress(mode string) progress {
	if mode == "auto" {
		mode = "plain"
		if a.screen() {
			mode = "bar"
		}
	}
	switch mode {
	case "bar":
		return newBar(a.Err)
	case "plain":
		return &plain{w: a.Err}
	}
	return none{}
}

// screen reports whether standard error is a terminal that has room for a bar. One that says it is of no size (a pipe in
// disguise, or a session without a window) would show nothing of it.
func (a *App) screen() bool { return a.Terminal(a.Err) && wide(a.Err) }

func wide(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return true
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

type none struct{}

func (none) update(scan.Progress) {}
func (none) end(scan.Progress)    {}

// plain writes a line now and then, for logs.
type plain struct {
	w    io.Writer
	last time.Time
}

func (l *plain) update(p scan.Progress) {
	if time.Since(l.last) < plainEvery {
		return
	}
	l.last = time.Now()
	l.print(p)
}

func (l *plain) end(p scan.Progress) { l.print(p) }

func (l *plain) print(p scan.Progress) {
	fmt.Fprintf(l.w, "compared %d keys: %d equal, %d verified, %d different, of which %d are done and %d left over\n", p.Keys, p.Equal, p.Verified, p.Differ, p.Settled+p.Clashes, p.Pending)
}

// bar is for a terminal. How many keys there are is only known at the end: the state's count is the best guess.
type bar struct {
	all  *mpb.Progress
	bar  *mpb.Bar
	text *atomicText
}

func newBar(w io.Writer) *bar {
	b := &bar{all: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh()), text: &atomicText{}}
	b.bar = b.all.New(0, mpb.BarStyle().Rbound("]").Lbound("["),
		mpb.PrependDecorators(decor.CountersNoUnit("%d / %d keys ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.text.get() })))
	return b
}

func (b *bar) update(p scan.Progress) {
	done := p.Equal + p.Verified + p.Settled + p.Clashes + p.Pending
	b.text.set(fmt.Sprintf(" %d brought together, %d left over", p.Settled+p.Clashes, p.Pending))
	b.bar.SetTotal(max(p.Known, p.Keys, done+1), false)
	b.bar.SetCurrent(done)
}

func (b *bar) end(p scan.Progress) {
	b.update(p)
	b.bar.SetTotal(max(p.Keys, 1), p.Done && p.Keys > 0)
	if !b.bar.Completed() {
		b.bar.Abort(false)
	}
	b.all.Wait()
}
