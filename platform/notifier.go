package platform

import "context"

// Notifier tells the people at the computer something.
type Notifier interface {
	// Notify shows the text to every logged-in user by what there is (terminals
	// first) and returns the users it reached. Nobody being logged in is no
	// error.
	Notify(ctx context.Context, text string) (told []string, err error)
	// Banner keeps the text where people see it when they log in, until it is
	// replaced; "" takes it away. It does not outlast this run of the host.
	Banner(ctx context.Context, text string) error
}
