--- Settings. `current` is what holds; `set` replaces it.
local M = {}

M.defaults = {
  cmd = { "qcn-agent", "lsp" },
  cmd_env = nil, -- variables for `cmd`, beside Neovim's own
  filetypes = nil, -- a list; nil: all
  root_markers = { ".git", "pyproject.toml", "package.json", "Cargo.toml", "go.mod" },
  trusted = {}, -- folders whose projects may be run, beside those of |trust|
  enabled = true,
  accept = "<Tab>", -- keys of insert mode; false: none
  accept_word = "<M-w>",
  accept_line = "<M-l>",
  native = nil, -- whether Neovim's own inline completion shows the text; nil: where there is one
  confirm = true, -- show an edit before it is made
}

M.current = vim.deepcopy(M.defaults)

local KEY = { "string", "boolean" }

local function check(settings)
  vim.validate("cmd", settings.cmd, "table")
  vim.validate("cmd_env", settings.cmd_env, "table", true)
  vim.validate("filetypes", settings.filetypes, "table", true)
  vim.validate("root_markers", settings.root_markers, "table")
  vim.validate("trusted", settings.trusted, "table")
  vim.validate("enabled", settings.enabled, "boolean")
  vim.validate("accept", settings.accept, KEY)
  vim.validate("accept_word", settings.accept_word, KEY)
  vim.validate("accept_line", settings.accept_line, KEY)
  vim.validate("native", settings.native, "boolean", true)
  vim.validate("confirm", settings.confirm, "boolean")
end

local KNOWN = { cmd_env = true, filetypes = true, native = true }

--- Take what the user gives, defaults for the rest. Raises an error that names the bad one.
function M.set(given)
  local settings = vim.tbl_extend("force", M.defaults, given or {})
  for name in pairs(settings) do
    assert(KNOWN[name] or M.defaults[name] ~= nil, ("qcn: there is no setting %q"):format(name))
  end
  check(settings)
  M.current = vim.deepcopy(settings)
end

return M
