(function_definition name: (word) @name) @definition.function
(program (variable_assignment name: (variable_name) @name) @definition.variable)
(command name: (command_name (word) @_source) argument: (_) (#match? @_source "^(source|\\.)$")) @import
(command name: (command_name (word) @reference))
(string) @string
(raw_string) @string
(comment) @comment
