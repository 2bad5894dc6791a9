module crabbox-provider-example

go 1.19
