package storetest

import "pgregory.net/rapid"

func modelled(b *bench) { _ = rapid.Check }
