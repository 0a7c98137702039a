"""LSTM on windows of returns; every window ends where its label begins."""
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_windows(values, length=60, horizon=1):
    X, y = [], []
    for i in range(len(values) - length - horizon + 1):
        X.append(values[i:i + length])
        y.append(values[i + length + horizon - 1, 0])
    return np.stack(X), np.array(y)


class Net(nn.Module):
    def __init__(self, inputs, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1, :]).squeeze(-1)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def train_epoch(model, loader, optimiser):
    total = 0.0
    for xb, yb in loader:
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(model(xb), yb)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(xb)
    return total / len(loader.dataset)


df = pd.read_csv("btc.csv", parse_dates=["time"], index_col="time")
frame = pd.DataFrame({"ret": np.log(df["close"]).diff(), "vol": np.log(df["close"]).diff().rolling(24).std(), "volume": np.log(df["volume"]).diff()}).dropna()
n_train, n_valid = int(0.7 * len(frame)), int(0.85 * len(frame))
train, valid, test = frame.iloc[:n_train], frame.iloc[n_train:n_valid], frame.iloc[n_valid:]
mean, std = train.mean(), train.std()
scaled = [((part - mean) / std).to_numpy(dtype="float32") for part in (train, valid, test)]
(X_train, y_train), (X_valid, y_valid), (X_test, y_test) = [make_windows(part) for part in scaled]

loader = DataLoader(TensorDataset(torch.tensor(X_train), torch.tensor(y_train)), batch_size=128, shuffle=True)
model = Net(X_train.shape[-1])
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
best, patience = np.inf, 0
for epoch in range(50):
    loss = train_epoch(model, loader, optimiser)
    with torch.no_grad():
        valid_loss = nn.functional.mse_loss(model(torch.tensor(X_valid)), torch.tensor(y_valid)).item()
    print(epoch, loss, valid_loss)
    if valid_loss < best:
        best, patience = valid_loss, 0
    else:
        patience += 1
    if patience > 5:
        break

with torch.no_grad():
    predictions = model(torch.tensor(X_test)).numpy()
direction = (np.sign(predictions) == np.sign(y_test)).mean()
error = np.sqrt(((predictions - y_test) ** 2).mean())
print("direction", direction, "rmse", error, "naive", np.abs(np.diff(y_test)).mean())
weights = softmax(predictions[-10:])
